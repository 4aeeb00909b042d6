import java.util.List;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** Which messages go when more wait for a topic consumer than the policy allows. */
final class SlowTopics extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        String limit = """
                <pendingMessageLimitStrategy><constantPendingMessageLimitStrategy limit="%d"/>
                </pendingMessageLimitStrategy>""";
        return Broker.Configuration.PLAIN.policies("""
                <policyEntry topic="Oldest.>">%1$s</policyEntry>
                <policyEntry topic="Lowest.>">%1$s<messageEvictionStrategy>
                  <oldestMessageWithLowestPriorityEvictionStrategy/></messageEvictionStrategy></policyEntry>
                <policyEntry topic="Unique.>">%1$s<messageEvictionStrategy>
                  <uniquePropertyMessageEvictionStrategy propertyName="stock"/></messageEvictionStrategy></policyEntry>
                <policyEntry topic="Rate.>"><pendingMessageLimitStrategy>
                  <prefetchRatePendingMessageLimitStrategy multiplier="2"/></pendingMessageLimitStrategy></policyEntry>
                <policyEntry topic="Letters.>">%1$s<deadLetterStrategy>
                  <individualDeadLetterStrategy processNonPersistent="true" topicPrefix="Dropped."/>
                </deadLetterStrategy></policyEntry>
                <policyEntry topic="Eager.>">%3$s%4$s<messageEvictionStrategy>
                  <oldestMessageEvictionStrategy evictExpiredMessagesHighWatermark="2"/></messageEvictionStrategy>
                </policyEntry>
                <policyEntry topic="Lazy.>">%3$s%4$s</policyEntry>
                <policyEntry topic="Nothing.>">%2$s</policyEntry>
                """.formatted(limit.formatted(3), limit.formatted(0), limit.formatted(100), """
                <deadLetterStrategy><individualDeadLetterStrategy processNonPersistent="true"
                  topicPrefix="Expired."/></deadLetterStrategy>"""));
    }

    private ActiveMQTopic t(String kind) {
        return new ActiveMQTopic(kind + "." + name());
    }

    /** A consumer whose prefetch of one is taken by a first message. */
    private MessageConsumer slow(ActiveMQTopic topic) throws Exception {
        MessageConsumer slow = auto(connect()).createConsumer(option(topic, "consumer.prefetchSize=1"));
        send(auto(connect()), topic, "first");
        eventually("the first is there", () -> ((ActiveMQMessageConsumer) slow).getMessageSize() == 1);
        return slow;
    }

    @Test
    void the_oldest_go_first() throws Exception {
        MessageConsumer slow = slow(t("Oldest"));
        sendNumbers(auto(connect()), t("Oldest"), 10);
        equal(List.of("first", "7", "8", "9"), takeAll(slow));
    }

    @Test
    void those_of_the_lowest_priority_go_first() throws Exception {
        MessageConsumer slow = slow(t("Lowest"));
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(t("Lowest"));
        for (int priority : new int[] {9, 1, 5, 2, 8, 3}) {
            producer.setPriority(priority);
            producer.send(session.createTextMessage("" + priority));
        }
        equal(List.of("first", "9", "5", "8"), takeAll(slow));
    }

    @Test
    void those_of_which_there_is_a_newer_one_go_first() throws Exception {
        MessageConsumer slow = slow(t("Unique"));
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(t("Unique"));
        int at = 0;
        for (String stock : List.of("a", "b", "a", "c")) {
            TextMessage message = session.createTextMessage(stock + at++);
            message.setStringProperty("stock", stock);
            producer.send(message);
        }
        equal(List.of("first", "b1", "a2", "c3"), takeAll(slow));
    }

    @Test
    void the_limit_may_follow_the_prefetch() throws Exception {
        MessageConsumer slow = slow(t("Rate"));
        sendNumbers(auto(connect()), t("Rate"), 10);
        equal(List.of("first", "8", "9"), takeAll(slow));
    }

    @Test
    void a_consumer_cannot_ask_for_a_larger_limit() throws Exception {
        MessageConsumer many = auto(connect()).createConsumer(
                option(t("Oldest"), "consumer.prefetchSize=1&consumer.maximumPendingMessageLimit=50"));
        sendNumbers(auto(connect()), t("Oldest"), 10);
        equal(4, takeAll(many).size());
    }

    @Test
    void with_a_limit_of_nothing_only_the_prefetch_is_kept() throws Exception {
        MessageConsumer slow = slow(t("Nothing"));
        sendNumbers(auto(connect()), t("Nothing"), 10);
        equal(List.of("first"), takeAll(slow));
    }

    @Test
    void what_goes_is_dead_lettered_where_the_policy_says_so() throws Exception {
        MessageConsumer slow = slow(t("Letters"));
        sendNumbers(auto(connect()), t("Letters"), 5);
        equal(List.of("first", "2", "3", "4"), takeAll(slow));
        MessageConsumer letters = auto(connect()).createConsumer(
                new ActiveMQQueue("Dropped." + t("Letters").getPhysicalName()));
        for (int n = 0; n < 2; n++) {
            Message letter = take(letters);
            equal("" + n, ((TextMessage) letter).getText());
            contains("TopicSubDiscard", letter.getStringProperty("dlqDeliveryFailureCause"));
        }
    }

    /** A consumer for which three messages waited that expired, and then one that did not. */
    private MessageConsumer slowWithExpired(ActiveMQTopic topic, MessageConsumer dead) throws Exception {
        MessageConsumer slow = slow(topic);
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(topic);
        producer.setTimeToLive(20);
        for (String text : numbers(0, 3)) {
            producer.send(session.createTextMessage(text));
        }
        nothing(dead);
        producer.setTimeToLive(0);
        producer.send(session.createTextMessage("live"));
        return slow;
    }

    @Test
    void what_expired_goes_before_its_turn_once_so_much_waits() throws Exception {
        for (String kind : List.of("Eager", "Lazy")) {
            MessageConsumer dead = auto(connect()).createConsumer(
                    new ActiveMQQueue("Expired." + t(kind).getPhysicalName()));
            MessageConsumer slow = slowWithExpired(t(kind), dead);
            if (kind.equals("Eager")) {
                take(dead);
            } else {
                nothing(dead);
            }
            equal(List.of("first", "live"), takeAll(slow));
        }
    }
}
