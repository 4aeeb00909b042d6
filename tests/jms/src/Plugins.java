import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Queue;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** What plugins add to the broker's own work. */
final class Plugins extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.attributes("populateJMSXUserID=\"true\"").policies("""
                <policyEntry queue="Dying.>"><deadLetterStrategy>
                  <individualDeadLetterStrategy/></deadLetterStrategy></policyEntry>
                """).elements("""
                <plugins>
                  <statisticsBrokerPlugin/>
                  <timeStampingBrokerPlugin ttlCeiling="60000" zeroExpirationOverride="30000"/>
                  <traceBrokerPathPlugin stampProperty="Passed"/>
                  <destinationPathSeparatorPlugin pathSeparator="/"/>
                  <loggingBrokerPlugin logAll="true"/>
                  <discardingDLQBrokerPlugin dropAll="false" dropTemporaryQueues="true" dropOnly="Dying.*drop.*"/>
                </plugins>
                """);
    }

    private static ActiveMQQueue q(String name) {
        return new ActiveMQQueue(name);
    }

    @Test
    void a_message_gets_the_time_of_the_broker_and_a_life_of_the_policy() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageProducer producer = session.createProducer(queue());
        long before = System.currentTimeMillis();
        for (long life : new long[] {0, 10_000, 600_000}) {
            producer.send(session.createTextMessage("" + life), DeliveryMode.PERSISTENT, 4, life);
        }
        MessageConsumer consumer = session.createConsumer(queue());
        for (long life : new long[] {30_000, 10_000, 60_000}) {
            Message message = take(consumer);
            check(message.getJMSTimestamp() >= before, "timestamp");
            equal(life, message.getJMSExpiration() - message.getJMSTimestamp());
        }
    }

    @Test
    void a_message_without_timestamp_stays_as_it_is() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(queue());
        producer.setDisableMessageTimestamp(true);
        producer.send(session.createTextMessage("x"));
        Message message = take(session.createConsumer(queue()));
        equal(0L, message.getJMSTimestamp());
        equal(0L, message.getJMSExpiration());
    }

    @Test
    void a_message_says_who_has_sent_it() throws Exception {
        ActiveMQConnection connection = connect("jms.userName=somebody&jms.password=secret");
        Session session = auto(connection);
        Message message = session.createTextMessage("x");
        message.setStringProperty("JMSXUserID", "somebody else");
        session.createProducer(queue()).send(message);
        equal("somebody", take(session.createConsumer(queue())).getStringProperty("JMSXUserID"));
    }

    @Test
    void a_message_says_which_broker_it_has_passed() throws Exception {
        Session session = auto(connect());
        send(session, queue(), "x");
        equal("jms", take(session.createConsumer(queue())).getStringProperty("Passed"));
    }

    @Test
    void a_name_may_be_written_with_another_separator() throws Exception {
        Session session = auto(connect());
        String path = queue().getPhysicalName();
        send(session, q("with/" + path + "/slashes"), "0");
        equal("0", takeText(session.createConsumer(q("with." + path + ".slashes"))));
        MessageConsumer slashes = session.createConsumer(q("with/" + path + "/*"));
        send(session, q("with." + path + ".dots"), "1");
        Message message = take(slashes);
        equal("1", ((TextMessage) message).getText());
        equal(q("with." + path + ".dots"), message.getJMSDestination());
        MessageConsumer topic = session.createConsumer(new ActiveMQTopic("news/" + path));
        send(session, new ActiveMQTopic("news." + path), "2");
        equal("2", takeText(topic));
    }

    @Test
    void dead_letters_of_some_queues_are_dropped() throws Exception {
        for (String name : List.of("Dying.keep", "Dying.drop.it")) {
            ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=0");
            Session session = transacted(connection);
            send(session, q(name), name);
            session.commit();
            MessageConsumer consumer = session.createConsumer(q(name));
            take(consumer);
            session.rollback();
            consumer.close();
        }
        equal(List.of("Dying.keep"), drain(q("ActiveMQ.DLQ.Queue.Dying.keep")));
        equal(List.of(), drain(q("ActiveMQ.DLQ.Queue.Dying.drop.it")));
    }

    private List<String> names(MapMessage map) throws Exception {
        List<String> names = new ArrayList<>();
        Collections.list(map.getMapNames()).forEach(name -> names.add("" + name));
        Collections.sort(names);
        return names;
    }

    private MapMessage ask(Session session, String about, Queue replies, Message question) throws Exception {
        question.setJMSReplyTo(replies);
        question.setJMSCorrelationID("asked");
        session.createProducer(q(about)).send(question);
        MapMessage answer = (MapMessage) take(session.createConsumer(replies));
        equal("asked", answer.getJMSCorrelationID());
        return answer;
    }

    @Test
    void the_broker_answers_with_its_statistics() throws Exception {
        Session session = auto(connect());
        TemporaryQueue replies = session.createTemporaryQueue();
        MapMessage answer = ask(session, "ActiveMQ.Statistics.Broker", replies, session.createMessage());
        equal(List.of("averageEnqueueTime", "averageMessageSize", "brokerId", "brokerName", "consumerCount",
                "dataDirectory", "dequeueCount", "dispatchCount", "enqueueCount", "expiredCount", "inflightCount",
                "maxEnqueueTime", "memoryLimit", "memoryPercentUsage", "memoryUsage", "messagesCached",
                "minEnqueueTime", "openwire", "producerCount", "size", "ssl", "stomp", "stomp+ssl", "storeLimit",
                "storePercentUsage", "storeUsage", "tempLimit", "tempPercentUsage", "tempUsage", "vm"),
                names(answer).stream().sorted().toList());
        equal("jms", answer.getString("brokerName"));
        equal(1L << 30, answer.getLong("memoryLimit"));
        contains("tcp://", answer.getString("openwire"));
        equal("Advisory", answer.getJMSType());
    }

    @Test
    void the_counters_of_the_broker_begin_anew_when_asked_to() throws Exception {
        if (Broker.isActiveMq()) {
            return; // It does that by JMX, which brokers under test do not have.
        }
        Session session = auto(connect());
        sendNumbers(session, queue(), 3);
        MapMessage before = ask(session, "ActiveMQ.Statistics.Broker", session.createTemporaryQueue(), session.createMessage());
        check(before.getLong("enqueueCount") >= 3, "only " + before.getLong("enqueueCount") + " were counted");
        Message question = session.createMessage();
        question.setBooleanProperty("ActiveMQ.Statistics.Broker.Reset", true);
        MapMessage anew = ask(session, "ActiveMQ.Statistics.Broker", session.createTemporaryQueue(), question);
        equal(0L, anew.getLong("enqueueCount"));
        equal(0L, anew.getLong("dequeueCount"));
        check(anew.getLong("size") >= 3, "only " + anew.getLong("size") + " are there");
        sendNumbers(session, queue(), 2);
        MapMessage after = ask(session, "ActiveMQ.Statistics.Broker", session.createTemporaryQueue(), session.createMessage());
        check(after.getLong("enqueueCount") >= 2, "only " + after.getLong("enqueueCount") + " were counted since");
        MapMessage of = ask(session, "ActiveMQ.Statistics.Destination" + queue().getPhysicalName(), session.createTemporaryQueue(),
                session.createMessage());
        equal(5L, of.getLong("enqueueCount"));
    }

    @Test
    void a_queue_answers_with_its_statistics() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageProducer producer = session.createProducer(queue());
        for (int i = 0; i < 3; i++) {
            producer.send(session.createTextMessage("" + i));
        }
        Session holding = client(connection);
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) holding.createConsumer(
                option(queue(), "consumer.prefetchSize=1"));
        take(consumer).acknowledge();
        settle(holding);
        eventually("the next is there", () -> consumer.getMessageSize() == 1);
        TemporaryQueue replies = session.createTemporaryQueue();
        MapMessage answer = ask(session, "ActiveMQ.Statistics.Destination." + queue().getPhysicalName(), replies,
                session.createMessage());
        equal(List.of("averageEnqueueTime", "averageMessageSize", "brokerId", "brokerName", "consumerCount",
                "dequeueCount", "destinationName", "dispatchCount", "enqueueCount", "expiredCount", "inflightCount",
                "maxEnqueueTime", "memoryLimit", "memoryPercentUsage", "memoryUsage", "messagesCached",
                "minEnqueueTime", "producerCount", "size"), names(answer));
        equal("queue://" + queue().getPhysicalName(), answer.getString("destinationName"));
        equal(2L, answer.getLong("size"));
        equal(3L, answer.getLong("enqueueCount"));
        equal(1L, answer.getLong("dequeueCount"));
        equal(1L, answer.getLong("inflightCount"));
        equal(1L, answer.getLong("consumerCount"));
        equal(1L, answer.getLong("producerCount"));
        equal(0L, answer.getLong("expiredCount"));
        check(answer.getLong("memoryUsage") > 0, "no memory");
        check(answer.getLong("averageMessageSize") >= 1024, "average size");
    }

    @Test
    void a_pattern_is_answered_for_each_queue_and_with_an_end() throws Exception {
        Session session = auto(connect());
        send(session, queue("a"), "x");
        send(session, queue("b"), "x");
        TemporaryQueue replies = session.createTemporaryQueue();
        Message question = session.createMessage();
        question.setJMSReplyTo(replies);
        question.setStringProperty("ActiveMQ.Statistics.Destination.List.End.With.Null", "");
        question.setStringProperty("ActiveMQ.Statistics.Destination.Include.First.Message.Timestamp", "");
        session.createProducer(q("ActiveMQ.Statistics.Destination." + name() + ".*")).send(question);
        MessageConsumer consumer = session.createConsumer(replies);
        List<String> asked = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            MapMessage answer = (MapMessage) take(consumer);
            asked.add(answer.getString("destinationName"));
            check(answer.getLong("firstMessageTimestamp") > 0, "no time of the first");
        }
        Collections.sort(asked);
        equal(List.of("queue://" + queue("a").getPhysicalName(), "queue://" + queue("b").getPhysicalName()), asked);
        equal(List.of(), names((MapMessage) take(consumer)));
        nothing(consumer);
    }

    @Test
    void a_question_without_address_for_the_answer_is_a_message() throws Exception {
        Session session = auto(connect());
        send(session, q("ActiveMQ.Statistics.Broker"), "kept");
        equal(List.of("kept"), drain(q("ActiveMQ.Statistics.Broker")));
    }

    @Test
    void temporary_queues_work_under_all_of_them() throws Exception {
        Session session = auto(connect());
        ActiveMQDestination replies = (ActiveMQDestination) session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(replies);
        send(session, replies, "pong");
        equal(replies, ((ActiveMQMessage) take(consumer)).getJMSDestination());
    }
}
