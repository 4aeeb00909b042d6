import java.util.Set;
import java.util.concurrent.TimeUnit;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.advisory.DestinationSource;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** Destinations that are there from the start, that are too many, that are not used any more. */
final class Destinations extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.stored("").attributes("""
                schedulePeriodForDestinationPurge="200" offlineDurableSubscriberTimeout="600"
                offlineDurableSubscriberTaskSchedule="200\"""").policies("""
                <policyEntry queue="Idle.>" gcInactiveDestinations="true" inactiveTimeoutBeforeGC="400"/>
                <policyEntry topic="Idle.>" gcInactiveDestinations="true" inactiveTimeoutBeforeGC="400"/>
                <policyEntry queue="Two.>" maxDestinations="2"/>
                <policyEntry queue="Alone.>" allConsumersExclusiveByDefault="true"/>
                """).elements("""
                <destinations>
                  <queue physicalName="From.the.start"/><topic physicalName="Topic.from.the.start"/>
                </destinations>""");
    }

    private static ActiveMQQueue q(String name) {
        return new ActiveMQQueue(name);
    }

    @Test
    void some_are_there_from_the_start() throws Exception {
        DestinationSource source = connect().getDestinationSource();
        eventually("they are told", () -> source.getQueues().contains(q("From.the.start"))
                && source.getTopics().contains(new ActiveMQTopic("Topic.from.the.start")));
    }

    @Test
    void an_idle_queue_is_removed_and_one_in_use_is_not() throws Exception {
        ActiveMQConnection connection = connect();
        DestinationSource source = connection.getDestinationSource();
        Session session = auto(connection);
        session.createConsumer(q("Idle.unused")).close();
        send(session, q("Idle.full"), "x");
        MessageConsumer consumer = session.createConsumer(q("Idle.consumed"));
        session.createProducer(q("Idle.produced"));
        Set<ActiveMQQueue> queues = source.getQueues();
        eventually("the unused one is gone", () -> !queues.contains(q("Idle.unused"))
                && queues.contains(q("Idle.full")));
        TimeUnit.MILLISECONDS.sleep(1000);
        for (String name : new String[] {"full", "consumed", "produced"}) {
            check(queues.contains(q("Idle." + name)), name + " is gone");
        }
        consumer.close();
        drain(q("Idle.full"));
        eventually("the others are gone, too", () -> !queues.contains(q("Idle.full"))
                && !queues.contains(q("Idle.consumed")));
    }

    @Test
    void a_queue_that_was_removed_is_made_again() throws Exception {
        DestinationSource source = connect().getDestinationSource();
        Session session = auto(connect());
        send(session, q("Idle.again"), "0");
        drain(q("Idle.again"));
        eventually("it is gone", () -> !source.getQueues().contains(q("Idle.again")));
        send(session, q("Idle.again"), "1");
        equal("1", takeText(session.createConsumer(q("Idle.again"))));
    }

    @Test
    void an_idle_topic_is_removed() throws Exception {
        DestinationSource source = connect().getDestinationSource();
        send(auto(connect()), new ActiveMQTopic("Idle.topic"), "x");
        eventually("it is there", () -> source.getTopics().contains(new ActiveMQTopic("Idle.topic")));
        eventually("it is gone", () -> !source.getTopics().contains(new ActiveMQTopic("Idle.topic")));
    }

    @Test
    void one_too_many_is_refused() throws Exception {
        Session session = auto(connect());
        send(session, q("Two.a"), "x");
        send(session, q("Two.b"), "x");
        try {
            send(session, q("Two.c"), "x");
            check(false, "it was made");
        } catch (JMSException expected) {
            contains("(2) for the policy", expected.getMessage());
        }
    }

    @Test
    void a_durable_subscriber_that_stays_away_is_forgotten() throws Exception {
        ActiveMQTopic topic = topic();
        ActiveMQConnection away = unstarted(url(""));
        away.setClientID(name());
        away.start();
        auto(away).createDurableSubscriber(topic, "away");
        ActiveMQConnection here = unstarted(url(""));
        here.setClientID(name() + ".here");
        here.start();
        MessageConsumer stays = auto(here).createDurableSubscriber(topic, "here");
        away.close();
        send(auto(here), topic, "x");
        TimeUnit.MILLISECONDS.sleep(1500);
        ActiveMQConnection back = unstarted(url(""));
        back.setClientID(name());
        back.start();
        nothing(auto(back).createDurableSubscriber(topic, "away"));
        equal("x", takeText(stays));
    }

    @Test
    void all_consumers_of_a_queue_may_be_exclusive() throws Exception {
        Session session = auto(connect());
        MessageConsumer first = session.createConsumer(q("Alone.Q"));
        MessageConsumer second = auto(connect()).createConsumer(q("Alone.Q"));
        sendNumbers(session, q("Alone.Q"), 4);
        equal(numbers(0, 4), takeTexts(first, 4));
        nothing(second);
        first.close();
        send(session, q("Alone.Q"), "next");
        equal("next", takeText(second));
    }
}
