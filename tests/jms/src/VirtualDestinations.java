import java.util.List;
import java.util.Set;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** Virtual topics with attributes, composite queues and topics. */
final class VirtualDestinations extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.policies("""
                <policyEntry queue="Full.>" memoryLimit="1" sendFailIfNoSpace="true"/>
                """).elements(virtual("""
                <virtualTopic name="Aware.>" prefix="AwareOf.*." selectorAware="true"/>
                <virtualTopic name="Post.>" prefix="Before.*." postfix=".after"/>
                <virtualTopic name="Kept.>" prefix="Keeps.*." setOriginalDestination="false"/>
                <virtualTopic name="Drops.>" prefix="Full.*." dropOnResourceLimit="true"/>
                <virtualTopic name="Together.>" prefix="All.*." concurrentSend="true" transactedSend="true"/>
                <compositeQueue name="Forward">
                  <forwardTo><queue physicalName="Forward.A"/><topic physicalName="Forward.B"/></forwardTo>
                </compositeQueue>
                <compositeQueue name="Both" forwardOnly="false">
                  <forwardTo><queue physicalName="Both.A"/></forwardTo>
                </compositeQueue>
                <compositeQueue name="Pattern.*">
                  <forwardTo><queue physicalName="Patterns"/></forwardTo>
                </compositeQueue>
                <compositeTopic name="News">
                  <forwardTo><queue physicalName="News.A"/><topic physicalName="News.B"/></forwardTo>
                </compositeTopic>
                <compositeTopic name="NewsToo" forwardOnly="false">
                  <forwardTo><queue physicalName="NewsToo.A"/></forwardTo>
                </compositeTopic>
                <compositeQueue name="Filtered">
                  <forwardTo>
                    <filteredDestination selector="n = 1" queue="Filtered.One"/>
                    <filteredDestination selector="n &gt; 0" topic="Filtered.Positive"/>
                  </forwardTo>
                </compositeQueue>
                <compositeQueue name="Unmatched" sendWhenNotMatched="true">
                  <forwardTo><filteredDestination selector="n = 1" queue="Unmatched.One"/></forwardTo>
                </compositeQueue>
                <compositeQueue name="Chain"><forwardTo><queue physicalName="Link"/></forwardTo></compositeQueue>
                <compositeQueue name="Link"><forwardTo><queue physicalName="End"/></forwardTo></compositeQueue>
                """));
    }

    private static ActiveMQQueue q(String name) {
        return new ActiveMQQueue(name);
    }

    private static ActiveMQTopic t(String name) {
        return new ActiveMQTopic(name);
    }

    private static void sendNumber(Session session, Destination to, int n) throws Exception {
        TextMessage message = session.createTextMessage("" + n);
        message.setIntProperty("n", n);
        MessageProducer producer = session.createProducer(to);
        producer.send(message);
        producer.close();
    }

    @Test
    void a_selector_aware_virtual_topic_copies_only_what_a_consumer_wants() throws Exception {
        Session session = auto(connect());
        MessageConsumer one = session.createConsumer(q("AwareOf.A.Aware.T"), "n = 1");
        MessageConsumer two = session.createConsumer(q("AwareOf.A.Aware.T"), "n = 2");
        for (int n = 0; n < 4; n++) {
            sendNumber(session, t("Aware.T"), n);
        }
        equal("1", takeText(one));
        equal("2", takeText(two));
        one.close();
        two.close();
        sendNumber(session, t("Aware.T"), 1);
        equal(List.of(), drain(q("AwareOf.A.Aware.T")));
    }

    @Test
    void prefix_and_postfix_name_the_queues() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(q("Before.A.Post.T.after"));
        MessageConsumer other = session.createConsumer(q("Before.A.Post.T"));
        send(session, t("Post.T"), "x");
        equal("x", takeText(consumer));
        nothing(other);
    }

    @Test
    void a_configuration_of_its_own_takes_the_place_of_the_default_virtual_topic() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(q("Consumer.A.VirtualTopic.T"));
        send(session, t("VirtualTopic.T"), "x");
        nothing(consumer);
    }

    @Test
    void a_copy_may_keep_its_destination() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(q("Keeps.A.Kept.T"));
        send(session, t("Kept.T"), "x");
        ActiveMQMessage copy = (ActiveMQMessage) take(consumer);
        equal(t("Kept.T"), copy.getJMSDestination());
        equal(null, copy.getOriginalDestination());
    }

    @Test
    void a_full_queue_is_passed_over_where_the_virtual_topic_says_so() throws Exception {
        Session session = auto(connect());
        session.createConsumer(q("Full.A.Drops.T")).close();
        MessageConsumer plain = session.createConsumer(t("Drops.T"));
        MessageProducer producer = session.createProducer(t("Drops.T"));
        for (int n = 0; n < 5; n++) {
            producer.send(session.createTextMessage("" + n), DeliveryMode.PERSISTENT, 4, 0);
        }
        equal(numbers(0, 5), takeTexts(plain, 5));
        int kept = drain(q("Full.A.Drops.T")).size();
        check(kept < 5, "all " + kept + " were kept");
    }

    @Test
    void copies_may_be_sent_side_by_side_and_as_one() throws Exception {
        Session session = auto(connect());
        MessageConsumer one = session.createConsumer(q("All.A.Together.T"));
        MessageConsumer two = session.createConsumer(q("All.B.Together.T"));
        send(session, t("Together.T"), "x");
        equal("x", takeText(one));
        equal("x", takeText(two));
    }

    @Test
    void a_composite_queue_forwards_and_keeps_nothing() throws Exception {
        Session session = auto(connect());
        MessageConsumer topic = session.createConsumer(t("Forward.B"));
        send(session, q("Forward"), "x");
        equal("x", takeText(topic));
        ActiveMQMessage forwarded = (ActiveMQMessage) take(session.createConsumer(q("Forward.A")));
        equal(q("Forward.A"), forwarded.getJMSDestination());
        equal(q("Forward"), forwarded.getOriginalDestination());
        equal(List.of(), drain(q("Forward")));
    }

    @Test
    void a_composite_queue_that_does_not_only_forward_keeps_one() throws Exception {
        send(auto(connect()), q("Both"), "x");
        equal(List.of("x"), drain(q("Both")));
        equal(List.of("x"), drain(q("Both.A")));
    }

    @Test
    void the_name_of_a_composite_may_be_a_pattern() throws Exception {
        Session session = auto(connect());
        send(session, q("Pattern.one"), "1");
        send(session, q("Pattern.two"), "2");
        equal(List.of("1", "2"), drain(q("Patterns")));
    }

    @Test
    void a_composite_topic_forwards_to_queues_and_topics() throws Exception {
        Session session = auto(connect());
        MessageConsumer topic = session.createConsumer(t("News.B"));
        MessageConsumer itself = session.createConsumer(t("News"));
        send(session, t("News"), "x");
        equal("x", takeText(topic));
        equal(List.of("x"), drain(q("News.A")));
        nothing(itself);
    }

    @Test
    void a_composite_topic_that_does_not_only_forward_is_heard() throws Exception {
        Session session = auto(connect());
        MessageConsumer itself = session.createConsumer(t("NewsToo"));
        send(session, t("NewsToo"), "x");
        equal("x", takeText(itself));
        equal(List.of("x"), drain(q("NewsToo.A")));
    }

    @Test
    void a_filtered_destination_gets_what_its_selector_wants() throws Exception {
        Session session = auto(connect());
        MessageConsumer positive = session.createConsumer(t("Filtered.Positive"));
        for (int n = 0; n < 3; n++) {
            sendNumber(session, q("Filtered"), n);
        }
        equal(List.of("1", "2"), takeTexts(positive, 2));
        nothing(positive);
        equal(List.of("1"), drain(q("Filtered.One")));
        equal(List.of(), drain(q("Filtered")));
    }

    @Test
    void what_no_filter_wants_may_stay() throws Exception {
        Session session = auto(connect());
        sendNumber(session, q("Unmatched"), 1);
        sendNumber(session, q("Unmatched"), 2);
        equal(List.of("1"), drain(q("Unmatched.One")));
        equal(List.of("2"), drain(q("Unmatched")));
    }

    @Test
    void what_is_forwarded_is_forwarded_again() throws Exception {
        send(auto(connect()), q("Chain"), "x");
        equal(List.of("x"), drain(q("End")));
    }

    @Test
    void a_transaction_is_forwarded_when_it_commits() throws Exception {
        Session session = transacted(connect());
        send(session, q("Both"), "rolled back");
        session.rollback();
        send(session, q("Both"), "0", "1");
        equal(List.of(), drain(q("Both.A")));
        session.commit();
        equal(List.of("0", "1"), drain(q("Both.A")));
        equal(List.of("0", "1"), drain(q("Both")));
    }

    @Test
    void a_composite_is_a_destination_like_any_other() throws Exception {
        send(auto(connect()), q("Forward"), "x");
        Set<? extends ActiveMQDestination> queues = connect().getDestinationSource().getQueues();
        eventually("it is listed", () -> queues.contains(q("Forward")) && queues.contains(q("Forward.A")));
        drain(q("Forward.A"));
    }
}
